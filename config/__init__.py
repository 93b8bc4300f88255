"""Configuration that differs between deployments: settings, dataset definitions and connector templates."""
