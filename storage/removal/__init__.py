"""What lies in a workspace, what of it refers to nothing, and how that is removed."""
