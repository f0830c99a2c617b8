"""A tokenizer converter for ovrecipe: runs a checkpoint's SentencePiece model itself."""
