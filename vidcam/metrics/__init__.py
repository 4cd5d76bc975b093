"""How well an explanation hits what is known, or what the network really needs."""
