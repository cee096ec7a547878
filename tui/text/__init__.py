"""Drawing text from models, data and files."""
