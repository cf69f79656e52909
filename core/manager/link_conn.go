package manager

import (
	"math"
	"net"
	"time"
)

// tuneConn lets the kernel find a dead peer. Links of our own gateways do not
// need it, they have heartbeats and deadlines; a legacy gateway may be silent.
func tuneConn(conn net.Conn, opt Options) {
	tcp, ok := conn.(tcpConn)
	if !ok {
		return
	}
	probe := max(opt.Heartbeat/2, time.Second)
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: max(opt.Heartbeat, time.Second), Interval: probe, Count: 3})
	// Not below WriteTimeout: a peer that is slow and alive is for the write
	// deadline to judge, and the kernel counts a closed window as dead too.
	timeout := 2*max(opt.Heartbeat, opt.WriteTimeout) + time.Second
	setUserTimeout(tcp, int(min(timeout.Milliseconds(), math.MaxInt32)))
}
