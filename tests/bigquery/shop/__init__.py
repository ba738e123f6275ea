"""A small team's models; in these tests their relations are plain tables, which a test changes at will."""
