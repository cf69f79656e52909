package gateway

import "golang.org/x/sys/unix"

// UnsentLimits is what the kernel may hold unsent for each connection, in bytes.
func UnsentLimits(g *Gateway) (limits []int) {
	for _, t := range g.towers.all() {
		t.mu.Lock()
		n, err := unix.GetsockoptInt(int(t.fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
		t.mu.Unlock()
		if err != nil {
			n = -1
		}
		limits = append(limits, n)
	}
	return limits
}
