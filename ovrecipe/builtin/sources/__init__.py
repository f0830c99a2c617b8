"""Built-in sources: everything that can bring a Hugging Face checkpoint directory."""
