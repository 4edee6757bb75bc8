"""Install media: images, the deploy RAM OS, and serving them to one server for one install."""
