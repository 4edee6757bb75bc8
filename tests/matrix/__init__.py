"""The fault matrix: an install under every vendor quirk and every fault, judged at the server side."""
