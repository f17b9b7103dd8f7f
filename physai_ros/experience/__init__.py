"""Episodes as they were lived: recording, the store on disk, replay."""
