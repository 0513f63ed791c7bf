"""What a gateway needs for microcontrollers: their weights as a signed blob, and the serial line to them."""
