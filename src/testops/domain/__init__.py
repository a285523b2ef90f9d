"""The words of the product as frozen values; what they do is for the boxes above."""
