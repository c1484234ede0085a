package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/rolecall/rolecall/test/contender"
)

const connections = 16

// result is the best of all rounds.
type result struct {
	before contender.Memory
	closed closed
	open   open
}

type closed struct{ perSecond, cpu float64 }

type open struct {
	rate     int
	p50, p99 time.Duration
}

func (r *result) best(c closed, o open) {
	if c.perSecond > r.closed.perSecond {
		r.closed = c
	}
	if r.open.p99 == 0 || o.p99 < r.open.p99 {
		r.open = o
	}
}

// connection asks without parsing: all answers of a server are as long as its
// first.
type connection struct {
	net.Conn
	requests [][]byte
	next     int
	answer   []byte
}

func connect(port string, tokens []string, first int) (*connection, error) {
	made, err := net.Dial("tcp", "127.0.0.1:"+port) //nolint:noctx // loopback
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: made}
	for i := first; i < len(tokens); i += connections {
		c.requests = append(c.requests, []byte("GET /v1/credentials HTTP/1.1\r\nHost: 169.254.170.23\r\n"+
			"Accept: application/json\r\nAuthorization: "+tokens[i]+"\r\n\r\n"))
	}
	if _, err := c.Write(c.requests[0]); err != nil {
		return nil, err
	}
	var raw bytes.Buffer
	response, err := http.ReadResponse(bufio.NewReader(io.TeeReader(made, &raw)), nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d, %w", response.StatusCode, err)
	}
	c.answer = make([]byte, raw.Len())
	return c, nil
}

// ask makes one request for the next pod.
func (c *connection) ask() error {
	c.next = (c.next + 1) % len(c.requests)
	if _, err := c.Write(c.requests[c.next]); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, c.answer); err != nil {
		return err
	}
	if !bytes.HasPrefix(c.answer, []byte("HTTP/1.1 200 ")) || c.answer[len(c.answer)-1] != '}' {
		return fmt.Errorf("answer %.40q", c.answer)
	}
	return nil
}

// each runs work on so many connections at once.
func each(one agent, tokens []string, work func(c *connection, i int) error) error {
	var all sync.WaitGroup
	errs := make([]error, connections)
	for i := range connections {
		c, err := connect(one.port, tokens, i)
		if err != nil {
			return err
		}
		all.Go(func() {
			errs[i] = work(c, i)
			_ = c.Close()
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// closedLoop: every client asks again when it has its answer.
func closedLoop(one agent, tokens []string, duration time.Duration) (closed, error) {
	if one.most > 0 {
		return closed{}, nil // its limit is what would be measured
	}
	counts := make([]int, connections)
	before, start := one.CPU(), time.Now()
	err := each(one, tokens, func(c *connection, i int) error {
		for time.Since(start) < duration {
			if err := c.ask(); err != nil {
				return err
			}
			counts[i]++
		}
		return nil
	})
	took, total := time.Since(start), 0
	for _, count := range counts {
		total += count
	}
	return closed{float64(total) / took.Seconds(), float64((one.CPU() - before).Microseconds()) / float64(total)}, err
}

// openLoop: requests are due at fixed times, whether the ones before were
// answered or not; latency counts from when a request was due.
func openLoop(one agent, tokens []string, duration time.Duration, rate int) (open, error) {
	if one.most > 0 {
		rate = min(rate, one.most)
	}
	pause := time.Second * connections / time.Duration(rate)
	latencies := make([][]time.Duration, connections)
	start := time.Now().Add(50 * time.Millisecond)
	err := each(one, tokens, func(c *connection, i int) error {
		due := start.Add(pause * time.Duration(i) / connections)
		for end := start.Add(duration); due.Before(end); due = due.Add(pause) {
			sleepUntil(due)
			if err := c.ask(); err != nil {
				return err
			}
			latencies[i] = append(latencies[i], time.Since(due))
		}
		return nil
	})
	all := slices.Concat(latencies...)
	if len(all) == 0 {
		return open{}, errors.Join(err, errors.New("no answer"))
	}
	slices.Sort(all)
	round := func(of float64) time.Duration { return all[int(of*float64(len(all)-1))].Round(time.Microsecond) }
	return open{rate, round(0.5), round(0.99)}, err
}
