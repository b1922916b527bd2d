"""The protocol of one watch: pure, time and chance handed in."""
