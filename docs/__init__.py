"""The manual, and the script that draws its pictures."""
