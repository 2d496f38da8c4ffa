//! Safe wrappers over the operating system.
