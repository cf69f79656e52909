package schedstat

// Read is read.
func Read(tasks string) (Times, bool) { return read(tasks) }
