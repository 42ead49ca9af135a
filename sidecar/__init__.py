"""capi-sidecar: delivers Keitaro postbacks to the Conversions API of Meta."""

__version__ = "0.1.0"
