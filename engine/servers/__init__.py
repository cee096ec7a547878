"""Servers that speak the OpenAI API: one client and one control per server, for both models and judges."""
