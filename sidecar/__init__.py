"""capi-sidecar: delivers Keitaro postbacks to the Conversions API of Meta."""
