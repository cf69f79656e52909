package loadtest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// natsSink publishes over the client protocol of NATS, which has no answer to a
// publish: what the kernel took is sent.
type natsSink struct {
	conn   net.Conn
	errs   tally
	reader sync.WaitGroup
	// pong has an entry when an answer to our ping has come since somebody last looked.
	pong chan struct{}

	mu  sync.Mutex // guards the following: pongs are written between messages
	buf []byte
}

// natsWriteTimeout bounds a write to a server that has stopped reading, and how long
// it may take to answer a ping.
const natsWriteTimeout = 5 * time.Second

// natsHello is for a connection that only publishes.
const natsHello = `CONNECT {"verbose":false,"pedantic":false,"lang":"go","version":"1","protocol":1,"name":"firetower-loadtest"}` + "\r\nPING\r\n"

func dialNATS(ctx context.Context, addr string) (*natsSink, error) {
	d := net.Dialer{Timeout: firstOpening}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	s := &natsSink{conn: conn, pong: make(chan struct{}, 1)}
	s.reader.Go(s.read)
	if err = s.write([]byte(natsHello)); err == nil && !s.answered(ctx) {
		err = fmt.Errorf("no answer to a ping, errors %v", s.errs.all())
	}
	if err != nil {
		_ = s.close() // what it says follows from the error
		return nil, fmt.Errorf("publisher: NATS at %s: %w", addr, err)
	}
	return s, nil
}

// read takes what the server says until the connection ends.
func (s *natsSink) read() {
	r := bufio.NewReader(s.conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch line = strings.TrimRight(line, "\r\n"); {
		case line == "PING":
			_ = s.write([]byte("PONG\r\n")) // the next message tells of an error
		case line == "PONG":
			select {
			case s.pong <- struct{}{}:
			default:
			}
		case strings.HasPrefix(line, "-ERR"):
			s.errs.add(line)
		}
	}
}

// answered waits for the answer to a ping.
func (s *natsSink) answered(ctx context.Context) bool {
	timer := time.NewTimer(natsWriteTimeout)
	defer timer.Stop()
	select {
	case <-s.pong:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (s *natsSink) write(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeLocked(b)
}

func (s *natsSink) writeLocked(b []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(natsWriteTimeout)); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	return err
}

func (s *natsSink) send(_ context.Context, topic string, data []byte, _ pendingAck, _ int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(s.buf[:0], "PUB "...)
	s.buf = append(s.buf, topic...) // topics of a run are plain ASCII without a dot
	s.buf = append(s.buf, ' ')
	s.buf = strconv.AppendInt(s.buf, int64(len(data)), 10)
	s.buf = append(s.buf, "\r\n"...)
	s.buf = append(s.buf, data...)
	s.buf = append(s.buf, "\r\n"...)
	if err := s.writeLocked(s.buf); err != nil {
		s.errs.add(err.Error())
		return fmt.Errorf("%w: %w", errNotConnected, err)
	}
	return nil
}

func (s *natsSink) account() sinkAccount { return sinkAccount{errors: s.errs.all()} }

func (s *natsSink) close() error {
	err := s.conn.Close()
	s.reader.Wait()
	return err
}
