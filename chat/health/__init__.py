"""How the server is: what is counted, what is done from time to time, and whether anything is wrong."""
