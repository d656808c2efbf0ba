"""What a person looks at: the table, the plots and the page."""
