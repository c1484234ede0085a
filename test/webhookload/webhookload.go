// Package webhookload asks an admission webhook as an API server does, at a fixed
// rate or as fast as it answers, and measures how long the answers take.
//
// It runs in a process of its own: a client's garbage and goroutines beside the
// server's would be measured as the server's. It does not start a server, nor look
// at answers beyond their status.
package webhookload

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Load is what is asked.
type Load struct {
	URL string // of /mutate
	// CA is the server's authority, PEM.
	CA []byte
	// Rate is reviews a second; 0 is as many as 25 clients get answered of which
	// each asks again when it has its answer.
	Rate  int
	Count int // reviews in all
	// Bodies are sent by turns.
	Bodies []string
	// HTTP2 is what an API server speaks to a webhook that is registered by a URL
	// of its own host. To all others, Services among them, it speaks HTTP/1.1
	// over at most 25 idle connections, so that they are spread over replicas.
	HTTP2 bool
}

// Result is how long answers took, from when a review was sent: what it then
// waits for a connection or for a processor is counted, what the clock woke the
// client too late is not.
type Result struct {
	P50, P99, P999, Max time.Duration
	// PerSecond is how many reviews a second there really were.
	PerSecond float64
}

// connections is what an API server keeps. It opens more when all are in use, and
// closes those after one review: of a stall, which a machine with the client and
// the server on two cores has now and then, that makes a storm of handshakes which
// is this client's doing. Here reviews wait instead.
const connections = 25

// Warm is how many reviews are sent before those that are measured: for the
// handshake, and what is made once.
const Warm = 200

// environment says to a program that it is to be the client.
const environment = "ROLECALL_WEBHOOK_LOAD"

// Run runs the load in a process of this program's own executable, whose main
// calls Main first.
func Run(ctx context.Context, load Load) (*Result, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(load)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, program)
	command.Env = append(os.Environ(), environment+"=stdin", "GOGC=400")
	command.Stdin, command.Stderr = bytes.NewReader(text), os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("run the load: %w", err)
	}
	result := &Result{}
	return result, json.Unmarshal(out, result)
}

// Main is the process that Run starts; it returns at once in any other.
func Main() {
	if os.Getenv(environment) == "" {
		return
	}
	var load Load
	err := json.NewDecoder(os.Stdin).Decode(&load)
	if err == nil {
		var result *Result
		if result, err = load.run(); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(result)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (l *Load) run() (*Result, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(l.CA) {
		return nil, errors.New("no authority")
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2:   l.HTTP2,
		MaxIdleConnsPerHost: connections,
		MaxConnsPerHost:     connections,
	}}
	for i := range Warm {
		if err := l.ask(client, i); err != nil {
			return nil, err
		}
	}
	took, failed := make([]time.Duration, l.Count), make([]error, l.Count)
	ask := func(i int) {
		sent := time.Now()
		failed[i] = l.ask(client, i)
		took[i] = time.Since(sent)
	}
	start := time.Now()
	if l.Rate > 0 {
		l.bySchedule(start, ask)
	} else {
		l.byAnswers(ask)
	}
	elapsed := time.Since(start)
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	slices.Sort(took)
	at := func(thousandth int) time.Duration { return took[(len(took)-1)*thousandth/1000] }
	return &Result{at(500), at(990), at(999), at(1000), float64(l.Count) / elapsed.Seconds()}, nil
}

// bySchedule does not wait for the last answer before it sends, so that a slow
// answer does not hide the ones behind it.
func (l *Load) bySchedule(start time.Time, ask func(i int)) {
	var asking sync.WaitGroup
	for i := range l.Count {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(l.Rate))))
		asking.Go(func() { ask(i) })
	}
	asking.Wait()
}

func (l *Load) byAnswers(ask func(i int)) {
	var asking sync.WaitGroup
	var next atomic.Int64
	for range connections {
		asking.Go(func() {
			for i := int(next.Add(1)) - 1; i < l.Count; i = int(next.Add(1)) - 1 {
				ask(i)
			}
		})
	}
	asking.Wait()
}

func (l *Load) ask(client *http.Client, i int) error {
	body := l.Bodies[i%len(l.Bodies)]
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, l.URL, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}
