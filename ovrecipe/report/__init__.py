"""What is known of a recipe's built variants, as one page to look at and to send on."""
