"""All channels of a bank."""

from grammars.primitive import Bank, primitive


@primitive(tags=("colour",))
def bank(k, *, name, channels) -> Bank:
    """The channels of a bank in order, each an atom with a scalar at each position.

    No arguments; a mix of the channels is an atom again.
    """

    def channel(number):
        return lambda i, j: k.read(name, number, i, j)

    return [channel(number) for number in range(channels)]
