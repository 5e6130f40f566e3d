"""The roof: everything that touches a socket, a disk, a database or a clock, and joins the two wings."""
