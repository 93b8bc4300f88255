"""What differs between places: settings, dataset definitions, connector templates."""
