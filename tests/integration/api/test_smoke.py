def test_smoke(house):
    house.push("digits", "fetch", "train")
    with house.client("edda") as client:
        for path in ("/v1/ping","/healthz","/readyz","/v1/openapi.json","/metrics","/v1/app","/v1/nodes","/v1/users","/v1/users/ada","/v1/jobs","/v1/jobs/digits","/v1/jobs/digits/files/main.yml","/v1/pipelines"):
            r = client.get(path)
            print(path, r.status_code, r.text[:300], dict(r.headers))
            assert r.status_code == 200, path
        p = client.run_job("digits")
        print(client.finished(p))
        for path in (f"/v1/resources/{p}/data", f"/v1/resources/{p}--fetch/data", f"/v1/resources/{p}/events",f"/v1/resources/{p}--fetch/events",f"/v1/resources/{p}--fetch/logs"):
            r = client.get(path)
            print(path, r.status_code, r.text[:500])
            assert r.status_code == 200, path
        r = client.get(f"/v1/pipelines/{p}/stream")
        print(r.text)
