"""The shell around the screens: keys, themes, terminal, the store as the app watches it."""
