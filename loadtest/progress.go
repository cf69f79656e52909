package loadtest

// Progress shows people how a run goes. A run calls it from one goroutine at a
// time, a few times a second at most and never for a message.
type Progress interface {
	// Phase begins a part of the run. total is what Set counts to, 0 when that is not known.
	Phase(name string, total int64)
	// Set says how far the part has come, and in a few words what it does.
	Set(done int64, detail string)
	// Close ends the display, of a run that failed too.
	Close()
}

// quiet is the Progress of a run that nobody watches.
type quiet struct{}

func (quiet) Phase(string, int64) {}
func (quiet) Set(int64, string)   {}
func (quiet) Close()              {}
