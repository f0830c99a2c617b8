"""The tokenizer gate: the converted pair against the checkpoint's own tokenizer."""
