"""Public data sets in their official form, and the formats that many sets share."""
