"""Which labels of a bank are likeliest wrong, as values, tables and a page."""
