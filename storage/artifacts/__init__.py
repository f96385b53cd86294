"""What is made of builds and has a name: fitted adapters, refined encoders, indices of features."""
