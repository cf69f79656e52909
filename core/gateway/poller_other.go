//go:build !linux

package gateway

import "errors"

// poller does not exist here: every connection is a stream.
type poller struct{}

func newPoller() (*poller, error)                 { return nil, errors.ErrUnsupported }
func (p *poller) add(*FireTower) error            { return errors.ErrUnsupported }
func (p *poller) watchRoom(*FireTower, bool) bool { return false }
func (p *poller) remove(int, *FireTower)          {}
func (p *poller) run()                            {}
func (p *poller) close()                          {}
func (t *FireTower) wake()                        {}
