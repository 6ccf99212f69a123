"""The course as a site to read: its pages in each language, and the links among them."""
