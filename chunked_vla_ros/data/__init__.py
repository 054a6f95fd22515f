"""Reading and writing files: the robot contract and demonstrations."""
