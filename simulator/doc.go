// Package simulator is a fleet of WebSocket clients: it connects, subscribes, receives, and says what reached whom and
// when. It owns the client's side of the sockets and the ledger of deliveries. It is a black-box client: it knows the
// wire (RFC 6455, the two subprotocols of the server and the stamp in a test message), sees sockets only, and imports
// nothing of the server that it tests but the leaf core/uring, which maps the kernel's queues, nothing of the harness that drives it, and no client library of this project.
//
// # What a figure means
//
// A latency is the time when a message had been read, less the time when the plan wanted it sent (intended) or when it
// was sent (actual). Every read has a reading of the clock of its own, taken right after it, but for the io_uring engine,
// where up to 16 reads share one, taken after the last of them: a latency there is too long by what the kernel took for
// the reads behind it, at most some 50 us, and never too short. What waits in a socket while the loop is busy or rests is
// in the latency. Nothing is corrected, subtracted or left out: what cannot be a latency is counted apart (see package
// latency).
//
// The ledger knows every (message, connection) pair of the plan. A pair is received once, however often it comes, and
// lost when it never came: also when its connection was refused, or closed by the server, or had yet to subscribe. A
// connection remembers 16 bytes for each publisher and topic, and says in constant time whether a sequence is new, late
// or a repetition (see stream in ledger.go); a shard remembers the gaps.
//
// # What connections do beside receiving
//
// With a [ReconnectPlan] a connection that ends dials the next server after a wait that doubles, subscribes to the same
// topics and goes on with the same streams: what it missed is lost, and nothing that comes after counts twice. All waits
// of a shard stand in one heap, and attempts share the bound of handshakes with the ramp. [Fleet.Disconnect] makes such
// ends on purpose. With a [ChurnPlan] every connection is at one more topic, and they change it by a plan of their own;
// what is due to whom is then a matter of times ([ChurnReport]), and stands apart. Connections that are slow by plan
// ([SlowKind]) are in no figure of the others.
//
// [Fleet.Window] tells what came since the call before. A message costs nothing for it: the loop copies its histograms
// when it is asked, and whoever asks subtracts. Every choice (who is reset, who changes to what, how long a wait is) is
// drawn from a seed and from what it is about, never from the order of events.
//
// The ledger and the loop take some 240 bytes of heap for a connection with one topic and one publisher (25,000 of
// them, less the table of rows, which takes 26 MB of address space). Churn adds some 170, and 24 for each change; a
// connection that has been lost adds 16 until it is back.
//
// # Three engines
//
// [EngineEpoll] holds the connections of a shard in one goroutine on one thread. [EngineRing] does the same, but reads
// up to 16 of those that are ready with one system call. [EngineGoroutine] gives each connection a goroutine and
// gorilla/websocket. All write the same ledger, and the tests run everything with each. [Engines] tells what exists here.
//
// What a message costs by the account of the whole worker process, with 10,000 connections on one topic against the
// gateway, in turn on two virtual cores where a null system call takes 1 us (a machine that others use; the range of
// several runs): at 5 messages a second 4.6 to 6.3 us with io_uring, at 10 a second 4.2 to 6.2. What epoll and goroutine
// cost without the rest of a worker, measured on two virtual cores of an AMD EPYC, Linux 6.18 and Go 1.26.8: 10,000
// connections on one topic, 10 messages of 128 bytes a second, one shard, against the reference server floor; the range
// of several runs on the quiet machine (BenchmarkFanout in loadtest/reference):
//
//	                     CPU per message     p99          the server's CPU    resident memory
//	                     of the simulator                 per delivery        per connection
//	epoll                4.6 to 5.6 us       59 to 79 ms  5.5 to 6.4 us        3 KB
//	goroutine            8.4 to 9.8 us       81 to 97 ms  5.6 to 6.3 us       15 KB
//
// The default is the cheapest that exists. Epoll is cheaper than goroutines because a message costs it one system call and
// a share of another, where the goroutine engine pays for the network poller, a wake-up through the scheduler, a second read that
// finds nothing, and cold stacks. Of its 5 us some 0.2 are spent outside the kernel: 0.09 in the ledger (0.11 with an
// envelope; BenchmarkAccount), the rest in frames and the clock. Most of what is left is TCP, which acknowledges each
// message when it is read.
//
// io_uring saves entering and leaving the kernel for each message. A read that does not wait is done when it is submitted:
// between two calls nothing is under way that a closed descriptor could mix up, no thread of the kernel works for us, and
// all that reading costs is in the loop's account. What else epoll tells (an end, an error, room to send, a handshake, a
// client that is slow) is handled one by one, as without it.
//
// What was tried for the loop of epoll, by switching it every half second within one run, against 5.65 us of CPU for the
// loop's thread (the mean of the runs on the quiet machine; a difference below 0.2 is noise):
//
//	read(2) instead of recvfrom(2)                        + 0.6
//	read(2) through Go's scheduler                        + 0.8
//	recvmsg(2)                                            + 0.2
//	level-triggered instead of edge-triggered             + 0.2 (two shards of one run)
//	64, 128 or 256 events in a batch instead of 512       - 0.3
//	4096 events                                             0.0
//	no rest; rests of 100 us and 1 ms instead of 250 us   + 0.2; - 0.1; 0.0
//
// Hence recvfrom by a raw system call, which is safe because the socket never blocks; edges, which need one epoll_ctl
// in the life of a connection, and no read that finds nothing since a short read has emptied the socket; and 128
// events. The rest is there for the server, and costs up to its length in latency: see [Config.Rest].
package simulator
