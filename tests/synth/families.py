"""Architectures that people use, written out, at any width; weights are random."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def unit(channels: int, units: int, window: int = 1, **how: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU: the same size but for the stride."""
    how.setdefault("padding", window // 2)
    return nn.Sequential(
        nn.Conv2d(channels, units, window, bias=False, **how), nn.BatchNorm2d(units), nn.ReLU()
    )


class Block(nn.Module):
    """Two convolutions of width 3 and a shortcut (He et al. 2016)."""

    def __init__(self, channels: int, units: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, units, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(units), nn.BatchNorm2d(units)
        self.conv2 = nn.Conv2d(units, units, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride > 1 or channels != units:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, units, 1, stride, bias=False), nn.BatchNorm2d(units)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


def resnet18(width: int = 64, classes: int = 1000) -> nn.Module:
    """Eighteen layers with shortcuts (He et al. 2016)."""
    widths = [width, width, 2 * width, 4 * width, 8 * width]
    stages = [
        nn.Sequential(Block(a, b, 1 + (i > 0)), Block(b, b, 1))
        for i, (a, b) in enumerate(pairwise(widths))
    ]
    stem = (*unit(3, width, 7, stride=2), nn.MaxPool2d(3, 2, 1))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8 * width, classes))
    return nn.Sequential(*stem, *stages, *head)


class Inception(nn.Module):
    """Four branches beside each other, concatenated (Szegedy et al. 2015)."""

    def __init__(self, channels: int, *sizes: int) -> None:
        super().__init__()
        one, in3, out3, in5, out5, pooled = sizes
        self.branch1 = unit(channels, one)
        self.branch2 = nn.Sequential(unit(channels, in3), unit(in3, out3, 3))
        self.branch3 = nn.Sequential(unit(channels, in5), unit(in5, out5, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), unit(channels, pooled))

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(x) for branch in branches], 1)


INCEPTIONS = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    None,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    None,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)


def googlenet(scale: int = 1, classes: int = 1000) -> nn.Module:
    """Nine inception blocks, each size divided by `scale` (Szegedy et al. 2015)."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    first, third = 64 // scale, 192 // scale
    parts = [unit(3, first, 7, stride=2), pool(), unit(first, first), unit(first, third, 3), pool()]
    channels = third
    for sizes in INCEPTIONS:
        if sizes is None:
            parts.append(pool())
            continue
        small = [size // scale for size in sizes]
        parts.append(Inception(channels, *small))
        channels = small[0] + small[2] + small[4] + small[5]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, classes))
    return nn.Sequential(*parts, *head)


class Inverted(nn.Module):
    """Wide, by channel, narrow; with a shortcut where the sizes agree (Sandler et al. 2018)."""

    def __init__(self, channels: int, units: int, stride: int, expand: int) -> None:
        super().__init__()
        wide = channels * expand
        spread = [nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        self.conv = nn.Sequential(
            *(spread if expand > 1 else ()),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, units, 1, bias=False),
            nn.BatchNorm2d(units),
        )
        self.residual = stride == 1 and channels == units

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


# expansion, units, blocks, stride of the first
INVERTED = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def mobilenet(scale: int = 1, classes: int = 1000) -> nn.Module:
    """Depthwise separable convolutions (Sandler et al. 2018), each size divided by `scale`."""
    channels = 32 // scale
    parts = [nn.Conv2d(3, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU6()]
    for expand, units, count, stride in INVERTED:
        for i in range(count):
            block = Inverted(channels, units // scale, stride if i == 0 else 1, expand)
            parts.append(block)
            channels = units // scale
    last = 1280 // scale
    parts += [nn.Conv2d(channels, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU6()]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(last, classes))
    return nn.Sequential(*parts, *head)


def vgg11(scale: int = 1, classes: int = 1000) -> nn.Module:
    """Eight convolutions and three dense layers (Simonyan and Zisserman 2015)."""
    parts: list[nn.Module] = []
    channels = 3
    for units in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
        if not units:
            parts.append(nn.MaxPool2d(2))
            continue
        parts += [nn.Conv2d(channels, units // scale, 3, padding=1), nn.ReLU(inplace=True)]
        channels = units // scale
    wide = 4096 // scale
    dense = (nn.Linear(channels * 49, wide), nn.ReLU(True), nn.Dropout())
    more = (nn.Linear(wide, wide), nn.ReLU(True), nn.Dropout(), nn.Linear(wide, classes))
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(7), nn.Flatten(), *dense, *more)


class Fire(nn.Module):
    """Few channels, then many with windows of 1 and of 3 (Iandola et al. 2016)."""

    def __init__(self, channels: int, few: int, many: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, few, 1)
        self.expand1x1 = nn.Conv2d(few, many, 1)
        self.expand3x3 = nn.Conv2d(few, many, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


FIRES = ((16, 64), (16, 64), 0, (32, 128), (32, 128), 0, (48, 192), (48, 192), (64, 256), (64, 256))


def squeezenet(scale: int = 1, classes: int = 1000) -> nn.Module:
    """SqueezeNet 1.1 (Iandola et al. 2016), each size divided by `scale`."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    channels = 64 // scale
    parts: list[nn.Module] = [nn.Conv2d(3, channels, 3, 2), nn.ReLU(inplace=True), pool()]
    for sizes in FIRES:
        if not isinstance(sizes, tuple):
            parts.append(pool())
            continue
        few, many = (size // scale for size in sizes)
        parts.append(Fire(channels, few, many))
        channels = 2 * many
    head = (nn.Dropout(), nn.Conv2d(channels, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(*parts, *head, nn.Flatten())


class UNet(nn.Module):
    """Down and up again with skips (Ronneberger et al. 2015); `up` makes what doubles the size."""

    def __init__(self, width: int, up: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        sizes = (width, 2 * width, 4 * width)
        self.down = nn.ModuleList(
            nn.Sequential(unit(a, b, 3), unit(b, b, 3)) for a, b in pairwise((3, *sizes))
        )
        self.up = nn.ModuleList(up(b, a) for a, b in pairwise(sizes))
        self.join = nn.ModuleList(unit(2 * a, a, 3) for a in sizes[:-1])
        self.out = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i, down in enumerate(self.down):
            x = down(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for skip, up, join in zip(skips[-2::-1], self.up[::-1], self.join[::-1], strict=True):
            x = join(torch.cat([skip, up(x)], 1))
        return self.out(x)


class Interpolated(nn.Module):
    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, units, 1)

    def forward(self, x: Tensor) -> Tensor:
        large = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return F.relu(self.conv(large))


def shuffled(channels: int, units: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 4 * units, 1), nn.PixelShuffle(2))


def unet(width: int = 64) -> nn.Module:
    return UNet(width, Interpolated)


def unet_shuffled(width: int = 64) -> nn.Module:
    return UNet(width, shuffled)


def unet_transposed(width: int = 64) -> nn.Module:
    """The steps up are transposed convolutions, which stay as they are."""
    return UNet(width, lambda channels, units: nn.ConvTranspose2d(channels, units, 2, 2))


def audio(width: int = 128, classes: int = 35) -> nn.Module:
    """Convolutions of raw samples: long windows, then short ones (Dai et al. 2017)."""
    parts: list[nn.Module] = []
    channels = 1
    for units, window, stride in ((width, 80, 4), (width, 3, 1), (2 * width, 3, 1)):
        parts += [nn.Conv1d(channels, units, window, stride, window // 2), nn.BatchNorm1d(units)]
        parts += [nn.ReLU(), nn.MaxPool1d(4)]
        channels = units
    return nn.Sequential(
        *parts, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, classes)
    )


def lively(module: nn.Module) -> nn.Module:
    """Weights through which a difference anywhere is seen at the output (He et al. 2015)."""
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.get_buffer("running_mean").normal_(std=0.1)
            part.get_buffer("running_var").uniform_(0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.1)
    return module.eval()


@dataclass(frozen=True)
class Family:
    """An architecture at full size, `shape` a sample; and at the size of a test."""

    make: Callable[..., nn.Module]
    shape: tuple[int, ...]
    small: dict[str, int]
    small_shape: tuple[int, ...]
    layers: int
    opaque: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.make.__name__


IMAGE = (3, 224, 224)
FAMILIES = (
    Family(resnet18, IMAGE, {"width": 4, "classes": 5}, (3, 32, 32), 21),
    Family(googlenet, IMAGE, {"scale": 8, "classes": 5}, (3, 40, 40), 58),
    Family(mobilenet, IMAGE, {"scale": 4, "classes": 5}, (3, 32, 32), 53),
    Family(vgg11, IMAGE, {"scale": 16, "classes": 5}, (3, 32, 32), 11),
    Family(squeezenet, IMAGE, {"scale": 8, "classes": 5}, (3, 40, 40), 26),
    Family(unet, (3, 128, 128), {"width": 4}, (3, 16, 16), 11),
    Family(unet_shuffled, (3, 128, 128), {"width": 4}, (3, 16, 16), 11),
    Family(
        unet_transposed,
        (3, 128, 128),
        {"width": 4},
        (3, 16, 16),
        9,
        ("conv_transpose2d", "conv_transpose2d_1"),
    ),
    Family(audio, (1, 16000), {"width": 4, "classes": 5}, (1, 400), 4),
)
