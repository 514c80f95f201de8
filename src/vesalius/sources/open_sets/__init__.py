"""The small parts of open data sets that vesalius is developed on."""
