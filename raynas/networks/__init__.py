"""Networks after the search: stand-alone training, loading, export and the model card."""
