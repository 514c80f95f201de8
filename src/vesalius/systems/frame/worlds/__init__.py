"""Cases that claim checks train and test on."""
