"""``chunked-vla bag``: what is in a bag, is it whole, rescue a broken one."""
