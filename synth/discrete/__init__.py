"""Networks whose inputs are of few values: what they decide is proved for all inputs."""
