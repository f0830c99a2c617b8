"""Finding settings: the points of a search, what rules points out, and the recipe written anew."""
