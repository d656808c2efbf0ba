"""What a path is trained on: files and arrays as columns, targets, and what each fold makes of them."""
