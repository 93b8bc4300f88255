"""Dataset definitions: one folder per dataset."""
