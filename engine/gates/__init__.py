"""What candidates are held to, and the alerts that follow."""
