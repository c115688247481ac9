"""What one may ask of the server, how often and at once, so that nobody's wishes cost the others dear."""
