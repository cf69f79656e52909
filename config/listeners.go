package config

// listener is a key that holds an address to listen at.
type listener struct {
	loader *loader
	key    *key
	at     Address
}

// checkListeners refuses one address for two listeners of a process: the second would
// fail to start, with an error that names no key.
func (ls *loaders) checkListeners() {
	var seen []listener
	for _, l := range ls.active {
		for _, k := range l.keys {
			at, ok := k.to.(*Address)
			if k.kind != KindListen || !ok || !at.On || at.Port == 0 {
				continue
			}
			second := listener{l, k, *at}
			for _, first := range seen {
				if collide(first.at, second.at) {
					collision(first, second)
				}
			}
			seen = append(seen, second)
		}
	}
}

// collide tells whether one listener keeps the other from its port.
func collide(a, b Address) bool {
	everywhere := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return a.Port == b.Port && (a.Host == b.Host || everywhere(a.Host) || everywhere(b.Host))
}

// collision notes the problem at the key that somebody set, the later one of two.
func collision(first, second listener) {
	if second.key.origin.Kind == FromDefault {
		first, second = second, first
	}
	whose := ""
	if first.loader != second.loader {
		whose = " of the " + string(first.loader.service)
	}
	second.loader.problemWith(second.key.path, "must differ from %s%s, which is %s; got %s", first.key.path, whose, first.at, second.at)
}
