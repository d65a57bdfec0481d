"""FP-NAS (Yan et al.): learn a distribution over architectures with an adaptive number of samples."""
