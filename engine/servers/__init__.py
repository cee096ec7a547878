"""Servers that speak the OpenAI API: one client, one control of each server, for models and judges alike."""
